// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.lifecycle;

public class ViewModelProvider {
    public ViewModelProvider(ViewModelStoreOwner owner) {}

    public native <T extends ViewModel> T get(Class<T> modelClass);
}
