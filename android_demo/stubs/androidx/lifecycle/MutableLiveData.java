// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.lifecycle;

public class MutableLiveData<T> extends LiveData<T> {
    public MutableLiveData() {}

    public MutableLiveData(T value) {}

    public native void postValue(T value);
}
