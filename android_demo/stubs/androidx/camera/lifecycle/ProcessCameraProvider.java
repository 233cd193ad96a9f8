// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.camera.lifecycle;

import android.content.Context;
import androidx.camera.core.CameraSelector;
import androidx.camera.core.UseCase;
import androidx.lifecycle.LifecycleOwner;
import com.google.common.util.concurrent.ListenableFuture;

public final class ProcessCameraProvider {
    public static native ListenableFuture<ProcessCameraProvider> getInstance(Context context);

    public native boolean hasCamera(CameraSelector cameraSelector);

    // The library gives a Camera, which is not looked at here.
    public native Object bindToLifecycle(LifecycleOwner owner, CameraSelector cameraSelector, UseCase... useCases);

    public native void unbind(UseCase... useCases);

    public native void unbindAll();
}
