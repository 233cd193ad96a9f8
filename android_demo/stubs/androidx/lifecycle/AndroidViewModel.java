// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.lifecycle;

import android.app.Application;

public class AndroidViewModel extends ViewModel {
    public AndroidViewModel(Application application) {}

    public native <T extends Application> T getApplication();
}
